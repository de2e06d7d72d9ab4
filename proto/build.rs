//! Generates the message types, services and their JSON mapping from the .proto files, without an installed protoc.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files([
            "dodil/ignite/v1/build.proto",
            "dodil/ignite/v1/notification.proto",
            "dodil/ignite/v1/plugin.proto",
            "dodil/ignite/v1/policy.proto",
        ])?;
    // Encoded by the compiler, because the generated descriptor types would drop the google.api.http options.
    let descriptor_bytes = compiler.encode_file_descriptor_set();
    fs::write(
        PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"),
        &descriptor_bytes,
    )?;

    let mut config = prost_build::Config::new();
    config.enable_type_names();
    // Theirs is written by hand: it shows no values.
    config.skip_debug([
        ".dodil.ignite.v1.GitCredentials",
        ".dodil.ignite.v1.SaveBuildSecretsRequest",
    ]);
    tonic_prost_build::configure()
        .bytes(".dodil.ignite.v1")
        .btree_map(".dodil.ignite.v1")
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;

    // Every field is emitted, defaults too: clients need not know which are implied.
    pbjson_build::Builder::new()
        .register_descriptors(&descriptor_bytes)?
        .btree_map([".dodil.ignite.v1"])
        .emit_fields()
        .build(&[".dodil.ignite.v1"])?;
    Ok(())
}
