ARG A=one
ARG A=two
ARG B=$A
ARG A
FROM $A-$B
ARG A=three
FROM $A
