ARG A=debian
FROM ${NO:-${A}-x}
FROM ${NO:-${NO2:-"q"}}
FROM ${A:+${A:+y}}
FROM x${NO:-a\}b}
