FROM debian
RUN <<$A
x
$A
RUN <<"${A}"
x
${A}
RUN <<${A:-b}
x
${A:-b}
RUN <<E$A'q'F
x
E$AqF
