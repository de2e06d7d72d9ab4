ARG A=debian
FROM ${A#deb}
FROM ${A%ian}
FROM ${A/deb/x}
FROM ${A:?no}
FROM ${A?no}
