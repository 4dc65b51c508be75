//! Certificates and keys, made for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{Server, turntree};

/// Signs certificates for this machine, in files of a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority, whose certificate is `authority.pem`.
    ///
    /// # Panics
    ///
    /// When the file cannot be written.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names are names");
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a key signs");
        fs::write(folder.join("authority.pem"), certificate.pem()).expect("the folder takes a file");
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) }
    }

    /// Its certificate.
    #[must_use]
    pub fn file(&self) -> String {
        self.path("authority.pem")
    }

    /// Issues a certificate and its key, and returns their files.
    ///
    /// # Panics
    ///
    /// When the files cannot be written.
    #[must_use]
    pub fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("these are names");
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).expect("a key signs");
        let (cert_file, key_file) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}-key.pem")));
        fs::write(&cert_file, certificate.pem()).expect("the folder takes a file");
        fs::write(&key_file, key.serialize_pem()).expect("the folder takes a file");
        (cert_file, key_file)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("the folder's name is UTF-8").to_owned()
    }
}

/// The API keys of a server, in a file of its folder. The server reads it again within a second or two.
#[derive(Debug)]
pub struct Keys {
    file: PathBuf,
    /// The key named `writer`, of that role.
    pub writer: String,
    /// The key named `reader`, of that role.
    pub reader: String,
}

impl Keys {
    fn new(folder: &Path) -> Self {
        let mut keys = Self { file: folder.join("keys.json"), writer: String::new(), reader: String::new() };
        keys.writer = keys.create("writer", "writer");
        keys.reader = keys.create("reader", "reader");
        keys
    }

    /// Makes a key with a name and a role.
    ///
    /// # Panics
    ///
    /// When turntree refuses.
    #[must_use]
    pub fn create(&self, name: &str, role: &str) -> String {
        self.run(&["create", "--name", name, "--role", role])
    }

    /// Takes a key out.
    ///
    /// # Panics
    ///
    /// When turntree refuses.
    pub fn revoke(&self, name: &str) {
        self.run(&["revoke", name]);
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(turntree()).arg("keys").args(arguments).arg("--keys-file").arg(&self.file).output();
        let output = output.expect("TURNTREE can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the output is UTF-8").trim().to_owned()
    }
}

impl Server {
    /// Starts a server that speaks TLS and asks for a key, with more options.
    ///
    /// # Panics
    ///
    /// When the server does not say in a minute that it answers.
    #[must_use]
    pub fn start_private_with(more: &[&str]) -> (Self, Authority, Keys) {
        let mut made = None;
        let server = Self::start_with(|folder| {
            let (authority, keys) = made.insert((Authority::new(folder), Keys::new(folder)));
            let (cert, key) = authority.issue("server");
            let keys_file = keys.file.to_str().expect("the folder's name is UTF-8");
            let options = ["--tls-cert", &cert, "--tls-key", &key, "--keys-file", keys_file];
            options.iter().chain(more).map(ToString::to_string).collect()
        });
        let (authority, keys) = made.expect("made above");
        (server, authority, keys)
    }

    /// Starts a server that speaks TLS and asks for a key.
    #[must_use]
    pub fn start_private() -> (Self, Authority, Keys) {
        Self::start_private_with(&[])
    }
}
