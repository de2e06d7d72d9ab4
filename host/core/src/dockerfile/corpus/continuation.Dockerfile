FROM \
  debian\
:12 \  
  # comment

  AS \

  x
RUN a \
# comment
  b \\
USER c\\
RUN d\\\
 e
