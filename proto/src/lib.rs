//! The wire contract of the build gateway: package `dodil.ignite.v1`, as gRPC types and services and as proto3 JSON.
//!
//! The .proto files under `proto/` are the source; everything here is generated from them, but for [`json`], which
//! accepts what proto3 JSON allows and the generated code does not.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub mod json;
mod secrets;

/// Generated from `dodil/ignite/v1/*.proto`.
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
pub mod v1 {
    tonic::include_proto!("dodil.ignite.v1");
    include!(concat!(env!("OUT_DIR"), "/dodil.ignite.v1.serde.rs"));
}

/// The encoded `FileDescriptorSet` of the contract, for server reflection and generated clients.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The same, parsed: what the messages and calls look like, their HTTP annotations included.
pub fn descriptor_pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        // The bytes are compiled in; the tests read them.
        DescriptorPool::decode(DESCRIPTORS).unwrap_or_default()
    });
    &POOL
}
