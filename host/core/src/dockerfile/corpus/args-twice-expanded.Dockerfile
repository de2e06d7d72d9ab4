ARG X=evil
ARG Y='\$X'
ARG Z=\\\$X
FROM $Y
FROM $Z
FROM good:$Y
#arg Q='a'b
