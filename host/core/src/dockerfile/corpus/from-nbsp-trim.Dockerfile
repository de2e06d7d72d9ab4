 FROM debian 
 RUN x　
FROM aASb
