# escape= 
FROM debian
