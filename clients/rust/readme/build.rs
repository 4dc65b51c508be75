//! Makes a program of the examples in the README, so that prose and code cannot part.
//!
//! The `rust` blocks follow each other in one function, but those of the section on TLS, which need another server, in a
//! second one. What a line `println!(…); // text` prints must be that text.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

const README: &str = "../README.md";
const ADDRESS: &str = "\"localhost:50051\"";
const MODEL: &str = "OpenAI::from_env()?.responses(openai::GPT_5_2)";
const TOKEN: &str = "\"tt_secret\"";
const TLS_ADDRESS: &str = "\"turntrees://memory.example:443?ca_file=ca.pem\"";

fn main() {
    println!("cargo::rerun-if-changed={README}");
    let readme = fs::read_to_string(README).expect("the README can be read");
    let (mut plain, mut tls) = (String::new(), String::new());
    let mut section = "";
    let mut is_code = false;
    for line in readme.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if line.starts_with("```") {
            is_code = line == "```rust";
        } else if is_code {
            let program = if section.starts_with("TLS") { &mut tls } else { &mut plain };
            let line = line
                .replace(ADDRESS, "address")
                .replace(TLS_ADDRESS, "address")
                .replace(MODEL, "crate::model()")
                .replace(TOKEN, "crate::token()");
            writeln!(program, "{}", checked(&line)).expect("a text takes more text");
        }
    }
    assert!(
        plain.contains("address") && tls.contains("address"),
        "the examples connect to {ADDRESS} and {TLS_ADDRESS}"
    );
    let function = |name, body| {
        format!("pub async fn {name}(address: &str) -> Result<(), Box<dyn std::error::Error>> {{\n{body}Ok(())\n}}\n")
    };
    let program = function("plain", plain) + &function("tls", tls);
    let folder = env::var("OUT_DIR").expect("cargo names a folder");
    fs::write(Path::new(&folder).join("readme.rs"), program).expect("the program can be written");
}

/// The line, with an assertion in place of what it prints, when the README says what that is.
fn checked(line: &str) -> String {
    match line.split_once("; // ") {
        Some((print, text)) if print.trim_start().starts_with("println!(") => {
            let arguments = &print.trim_start()["println!(".len()..print.trim_start().len() - 1];
            format!("assert_eq!(format!({arguments}), {text:?});")
        }
        _ => line.to_owned(),
    }
}
