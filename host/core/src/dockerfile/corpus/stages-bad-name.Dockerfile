FROM debian AS 1a
