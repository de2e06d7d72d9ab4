ARG A=debian
FROM $A
FROM ${A:-x}
FROM ${A:+x}
#arg A=
