//! The binary format of CTranslate2, version 6: a table of named variables, each with its data behind its header.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use half::f16;

use super::read_array;

pub(super) struct Model {
    input: BufReader<File>,
    variables: HashMap<String, Variable>,
}

#[derive(Clone)]
pub(super) struct Variable {
    pub(super) shape: Vec<usize>,
    kind: Kind,
    offset: u64,
    bytes: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Float32,
    Int8,
    Int16,
    Int32,
    Float16,
    BFloat16,
}

impl Model {
    /// Reads the table; the data stays in the file.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut input = BufReader::new(File::open(path)?);
        ensure!(read_u32(&mut input)? == 6, "not a CTranslate2 model of version 6");
        let specification = read_string(&mut input)?;
        ensure!(specification == "WhisperSpec", "a CTranslate2 model of kind {specification}, not Whisper");
        ensure!(read_u32(&mut input)? == 3, "an unknown revision of WhisperSpec");
        let mut variables = HashMap::new();
        for _ in 0..read_u32(&mut input)? {
            let name = read_string(&mut input)?;
            let variable = Variable::read(&mut input)?;
            input.seek_relative(variable.bytes as i64)?;
            variables.insert(name, variable);
        }
        Ok(Self { input, variables })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    pub(super) fn variable(&self, name: &str) -> anyhow::Result<&Variable> {
        self.variables.get(name).with_context(|| format!("the model lacks {name}"))
    }

    /// The 16-bit floats of a variable, row-major.
    pub(super) fn read_floats(&mut self, name: &str) -> anyhow::Result<Vec<f16>> {
        let variable = self.variable(name)?.clone();
        ensure!(variable.kind == Kind::Float16, "{name} does not hold 16-bit floats");
        let bytes = self.read_bytes(&variable)?;
        Ok(bytes.chunks_exact(2).map(|bytes| f16::from_le_bytes([bytes[0], bytes[1]])).collect())
    }

    /// A variable that is one whole number.
    pub(super) fn read_scalar(&mut self, name: &str) -> anyhow::Result<i32> {
        let variable = self.variable(name)?.clone();
        let bytes = self.read_bytes(&variable)?;
        match (variable.kind, bytes.as_slice()) {
            (Kind::Int8, &[a]) => Ok(i32::from(a as i8)),
            (Kind::Int16, &[a, b]) => Ok(i32::from(i16::from_le_bytes([a, b]))),
            (Kind::Int32, &[a, b, c, d]) => Ok(i32::from_le_bytes([a, b, c, d])),
            _ => bail!("{name} is not one whole number"),
        }
    }

    fn read_bytes(&mut self, variable: &Variable) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; variable.bytes];
        self.input.seek(SeekFrom::Start(variable.offset))?;
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Variable {
    fn read(input: &mut (impl Read + Seek)) -> anyhow::Result<Self> {
        let [rank] = read_array::<1>(input)?;
        let shape = (0..rank).map(|_| Ok(read_u32(input)? as usize)).collect::<anyhow::Result<_>>()?;
        let kind = match read_array::<1>(input)? {
            [0] => Kind::Float32,
            [1] => Kind::Int8,
            [2] => Kind::Int16,
            [3] => Kind::Int32,
            [4] => Kind::Float16,
            [5] => Kind::BFloat16,
            [other] => bail!("unknown type of variable {other}"),
        };
        let bytes = read_u32(input)? as usize;
        Ok(Self { shape, kind, offset: input.stream_position()?, bytes })
    }
}

fn read_u32(input: &mut impl Read) -> anyhow::Result<u32> {
    Ok(u32::from_le_bytes(read_array(input)?))
}

/// The length counts the NUL at the end.
fn read_string(input: &mut impl Read) -> anyhow::Result<String> {
    let length = usize::from(u16::from_le_bytes(read_array(input)?));
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    ensure!(bytes.pop() == Some(0), "a name without its end");
    Ok(String::from_utf8(bytes)?)
}
