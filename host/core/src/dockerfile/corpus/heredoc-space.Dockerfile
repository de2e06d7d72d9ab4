FROM debian
RUN << EOF
x
EOF
RUN <<	EOF2 y
x
EOF2
RUN <<- EOF3
x
	EOF3
RUN << - EOF4
-
USER x
