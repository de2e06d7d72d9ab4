ARG   A=x\ y   B
FROM $A
