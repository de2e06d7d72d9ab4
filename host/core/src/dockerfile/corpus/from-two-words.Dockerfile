FROM debian x
