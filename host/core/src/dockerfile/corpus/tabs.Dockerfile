FROM	 debian 	 AS	 x	
RUN		a
