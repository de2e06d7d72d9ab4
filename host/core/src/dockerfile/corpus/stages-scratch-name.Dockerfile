FROM debian AS scratch
FROM debian
