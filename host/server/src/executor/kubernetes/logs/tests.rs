//! Following against a model of the kubelet, on a clock that runs as fast as it can.

mod histories;
mod kubelet;
mod moments;
