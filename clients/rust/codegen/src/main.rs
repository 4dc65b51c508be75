//! Generates the Rust code of the protos: `codegen DESCRIPTORS FOLDER`.
//!
//! DESCRIPTORS is what `protoc --descriptor_set_out --include_imports --include_source_info` wrote. The messages and the
//! stubs of turntree go to `v1.rs` in FOLDER, and those of the pipeline to `pipeline_v1.rs`, because only the client
//! itself needs them.

use std::error::Error;
use std::fs;
use std::path::Path;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use tonic_prost_build::Builder;

const PACKAGE: &str = "turntree.v1";
const PIPELINE: &str = "turntree/v1/pipeline.proto";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, descriptors, folder] = arguments.as_slice() else {
        return Err("usage: codegen DESCRIPTORS FOLDER".into());
    };
    let mut files = FileDescriptorSet::decode(fs::read(descriptors)?.as_slice())?;
    let folder = Path::new(folder);
    let mut public = files.clone();
    public.file.retain(|file| {
        let name = file.name();
        name.starts_with("google/protobuf/") || name.starts_with("turntree/") && name != PIPELINE
    });
    generate(tonic_prost_build::configure(), public, &folder.join("v1.rs"))?;

    let mut beside = tonic_prost_build::configure().extern_path(".google.rpc.Status", "::tonic_types::Status");
    for file in files.file.iter_mut().filter(|file| file.package() == PACKAGE && file.name() != PIPELINE) {
        file.service.clear();
        let messages = file.message_type.iter().map(DescriptorProto::name);
        for name in messages.chain(file.enum_type.iter().map(EnumDescriptorProto::name)) {
            beside = beside.extern_path(format!(".{PACKAGE}.{name}"), format!("crate::v1::{name}"));
        }
    }
    generate(beside, files, &folder.join("pipeline_v1.rs"))
}

fn generate(builder: Builder, files: FileDescriptorSet, output: &Path) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    builder.build_server(false).build_transport(false).out_dir(folder.path()).compile_fds(files)?;
    fs::copy(folder.path().join(format!("{PACKAGE}.rs")), output)?;
    Ok(())
}
