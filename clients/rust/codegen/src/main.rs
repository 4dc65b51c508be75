//! Generates the Rust code of the protos: `codegen DESCRIPTORS OUTPUT`.
//!
//! DESCRIPTORS is what `protoc --descriptor_set_out --include_imports --include_source_info` wrote. The messages and the
//! stubs of turntree go to OUTPUT; the pipeline is left out, because this client makes plain calls.

use std::error::Error;
use std::fs;

use prost::Message;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, descriptors, output] = arguments.as_slice() else {
        return Err("usage: codegen DESCRIPTORS OUTPUT".into());
    };
    let mut files = FileDescriptorSet::decode(fs::read(descriptors)?.as_slice())?;
    files.file.retain(|file| {
        let name = file.name();
        name.starts_with("google/protobuf/") || name.starts_with("turntree/") && !name.ends_with("/pipeline.proto")
    });
    let folder = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .out_dir(folder.path())
        .compile_fds(files)?;
    fs::copy(folder.path().join("turntree.v1.rs"), output)?;
    Ok(())
}
