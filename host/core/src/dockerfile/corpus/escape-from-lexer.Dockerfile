# escape=`
ARG A=x
FROM deb\ian
FROM `$A
FROM \$A
