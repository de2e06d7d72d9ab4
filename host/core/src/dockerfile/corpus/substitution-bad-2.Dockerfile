ARG A=x
FROM ${A:=y}
