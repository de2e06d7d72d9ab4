FROM debian
USER <<EOF
RUN ["<<EOF"]
RUN a<<<EOF
RUN "<<EOF"
RUN \<<EOF
ENV a=<<EOF
RUN a <<
COPY ["<<EOF", "b"]
RUN echo $((1<<2))
2))
WORKDIR /a
