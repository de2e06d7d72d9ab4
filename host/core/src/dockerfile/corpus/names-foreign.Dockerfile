ARG A=
ARG A٣=d
ARG Ä=u
FROM evil$A٣
FROM e$Ä
FROM e$Aा
#arg A=
