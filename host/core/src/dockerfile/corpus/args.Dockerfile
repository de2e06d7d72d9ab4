ARG A=debian
ARG B=12 C="x y" D='q' E
FROM $A:$B
FROM ${A}-${B}
FROM $C
FROM x$D
FROM $E-y
FROM ${E:-dflt}
FROM ${E-dflt}
FROM ${A:+alt}x
FROM ${NO:-n}
FROM a${NO:+n}
FROM a${NO+n}
FROM a${NO-}
