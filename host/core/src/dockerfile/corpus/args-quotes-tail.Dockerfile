ARG A=x\"
FROM $A
