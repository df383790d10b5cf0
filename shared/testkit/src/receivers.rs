//! Runs the code that customers copy to verify deliveries, in the languages of the documentation and of the dashboard.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::paths::{default_folder, on_path};

/// A language whose code a program on the path runs. Rust is not among them, because tests compile its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Node.js
    Node,
    /// Python 3
    Python,
    /// PHP 8
    Php,
    /// Go
    Go,
    /// Ruby
    Ruby,
    /// Java 17
    Java,
}

/// The functions that the code defines, and their parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Functions {
    /// `verify(body, headers, secret)`
    Verify,
    /// `verify(headers, secret)`: a token, which does not depend on the body.
    VerifyToken,
    /// `verify(headers, body, secret)` and `verifyProduct(profile, headers, body, secret)`
    Documented,
}

/// A delivery as a receiver gets it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The name of the tenant's profile.
    pub profile: String,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The endpoint's secret, as the receiver knows it.
    pub secret: String,
}

impl Request {
    /// Replaces the value of a header.
    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// A line for the drivers: profile, body, secret and headers, separated by tabs.
    fn line(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("\t{name}:{}", BASE64_STANDARD.encode(value)));
        let (body, secret) = (BASE64_STANDARD.encode(&self.body), BASE64_STANDARD.encode(&self.secret));
        format!("{}\t{body}\t{secret}{}\n", self.profile, headers.collect::<String>())
    }
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 6] = [Self::Node, Self::Python, Self::Php, Self::Go, Self::Ruby, Self::Java];

    /// The language's name in the documentation and in the dashboard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "Node.js",
            Self::Python => "Python",
            Self::Php => "PHP",
            Self::Go => "Go",
            Self::Ruby => "Ruby",
            Self::Java => "Java",
        }
    }

    /// The program that runs the code, and the package of Debian and Ubuntu that has it.
    pub fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Node => ("node", "nodejs"),
            Self::Python => ("python3", "python3"),
            Self::Php => ("php", "php-cli"),
            Self::Go => ("go", "golang-go"),
            Self::Ruby => ("ruby", "ruby"),
            Self::Java => ("javac", "default-jdk-headless"),
        }
    }

    /// Calls the functions of `code` for each request and returns their results: one for each function.
    ///
    /// # Errors
    /// The program is missing, the code is wrong or throws, or the results are not one line for each request.
    pub fn verdicts(self, code: &str, functions: Functions, requests: &[Request]) -> Result<Vec<Vec<bool>>> {
        let (program, package) = self.program();
        ensure!(on_path(program).is_some(), "no {program} on the path: apt-get install -y {package}");
        let folder = tempfile::tempdir()?;
        let call = self.call(functions);
        let mut command = self.prepare(folder.path(), code, &call)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let lines: String = requests.iter().map(Request::line).collect();
        // An error means that the program has ended; its output says why.
        let _ = child.stdin.take().context("a pipe")?.write_all(lines.as_bytes());
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}\n{errors}\n{said}", self.name(), output.status);
        let verdicts: Vec<Vec<bool>> = said
            .lines()
            .map(|line| line.split(' ').map(str::parse).collect::<Result<_, _>>())
            .collect::<Result<_, _>>()
            .with_context(|| format!("{} printed {said}{errors}", self.name()))?;
        ensure!(verdicts.len() == requests.len(), "{}: {} requests, printed {said}", self.name(), requests.len());
        Ok(verdicts)
    }

    /// The calls of the functions, separated by commas.
    fn call(self, functions: Functions) -> String {
        let product = match self {
            Self::Python | Self::Php | Self::Ruby => "verify_product",
            Self::Node | Self::Go | Self::Java => "verifyProduct",
        };
        let class = if self == Self::Java { "WebhookSignature." } else { "" };
        let sigil = if self == Self::Php { "$" } else { "" };
        let call = |function: &str, parameters: &[&str]| {
            let parameters: Vec<String> = parameters.iter().map(|name| format!("{sigil}{name}")).collect();
            format!("{class}{function}({})", parameters.join(", "))
        };
        match functions {
            Functions::Verify => call("verify", &["body", "headers", "secret"]),
            Functions::VerifyToken => call("verify", &["headers", "secret"]),
            Functions::Documented => {
                let general = call("verify", &["headers", "body", "secret"]);
                format!("{general}, {}", call(product, &["profile", "headers", "body", "secret"]))
            }
        }
    }

    /// Writes the code and its driver into a folder. Returns the command that runs them.
    fn prepare(self, folder: &Path, code: &str, call: &str) -> Result<Command> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            anyhow::Ok(path)
        };
        let driver = |text: &str| text.replace("CALL", call);
        let run = |program: &str, file| {
            let mut command = Command::new(program);
            command.arg(file);
            command
        };
        Ok(match self {
            Self::Node => {
                let name = if code.contains("export function") { "main.mjs" } else { "main.cjs" };
                run("node", write(name, code.to_owned() + &driver(include_str!("receivers/driver.js")))?)
            }
            Self::Python => {
                run("python3", write("main.py", code.to_owned() + &driver(include_str!("receivers/driver.py")))?)
            }
            Self::Php => {
                let code = code.strip_prefix("<?php").unwrap_or(code);
                let driver = driver(include_str!("receivers/driver.php"));
                run("php", write("main.php", format!("<?php\n{code}{driver}"))?)
            }
            Self::Ruby => {
                run("ruby", write("main.rb", code.to_owned() + &driver(include_str!("receivers/driver.rb")))?)
            }
            Self::Go => {
                let code = code.replace("package webhooks\n", "");
                let main = write("main.go", format!("package main\n\n{code}"))?;
                let mut command = go(&default_folder().join("go"));
                command.arg(main).arg(write("driver.go", driver(include_str!("receivers/driver.go")))?);
                command
            }
            Self::Java => {
                let main = write("WebhookSignature.java", code.to_owned())?;
                let driver = write("Driver.java", driver(include_str!("receivers/Driver.java")))?;
                let compiled = Command::new("javac")
                    .args(["-Xlint:all", "-Werror", "-d"])
                    .arg(folder)
                    .arg(main)
                    .arg(driver)
                    .output()?;
                ensure!(compiled.status.success(), "javac: {}", String::from_utf8_lossy(&compiled.stderr));
                let mut command = Command::new("java");
                command.args(["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp"]).arg(folder).arg("Driver");
                command
            }
        })
    }
}

/// Returns `go run`, which keeps compiled packages in the folder. The first run compiles Go's library.
fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command.arg("run").env("GOCACHE", folder).env("GOPATH", folder.join("path")).env("GOTOOLCHAIN", "local");
    command.env("GOFLAGS", "").env("GO111MODULE", "off");
    command
}
