//! Connects, so it imports `wasi:sockets`.

odd::validator! {
    describe: ("imports-sockets", "0.1.0"),
    validate: vec![format!("{:?}", std::net::TcpStream::connect("127.0.0.1:22"))]
}
