FROM	debian
RUNx
USER x
