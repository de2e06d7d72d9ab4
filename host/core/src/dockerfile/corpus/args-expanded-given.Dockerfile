FROM $A
FROM $B
FROM $C
FROM $D
#arg A=$B
#arg B=it\ s
#arg C="quo"ted
#arg D=scr$E
#arg E=atch
