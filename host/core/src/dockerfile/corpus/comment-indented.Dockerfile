  # escape=`
  FROM debian
	# x
  RUN a \
 	# y
	b # c
