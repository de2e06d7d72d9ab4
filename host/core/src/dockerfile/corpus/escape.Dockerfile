# escape=`
FROM deb`
ian
RUN c:\
USER x
RUN a ` 
 b
