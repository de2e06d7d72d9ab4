#!/bin/sh
echo "Hello $WHO! I run as user $(id -u), in an image that $(cat /made/maker) made among $(cat /made/packages) packages."
sha256sum -c /made/checksum
