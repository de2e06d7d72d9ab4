FROM debian AS x
