//! Checkpoints that torch wrote before version 1.6: five pickles (magic number, protocol, machine, the object, the keys
//! of its storages), then the raw storages. A reader for the few pickle instructions found there; it builds plain
//! values and never runs what a pickle names.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use super::read_array;

pub(super) struct Tensor {
    name: String,
    shape: Vec<usize>,
    /// 32-bit floats, little-endian, row-major.
    data: Vec<u8>,
}

/// The tensors of the dictionary `model_state`, in order of their names.
pub(super) fn read_model_state(path: &Path) -> anyhow::Result<Vec<Tensor>> {
    let mut input = BufReader::new(File::open(path)?);
    for _ in ["magic number", "protocol", "machine"] {
        unpickle(&mut input)?;
    }
    let checkpoint = unpickle(&mut input)?;
    let keys = unpickle(&mut input)?;
    let storages = read_storages(&mut input, keys)?;
    let state = checkpoint.entry("model_state").context("the checkpoint has no model_state")?;
    let Value::Dictionary(entries) = state else { bail!("model_state is not a dictionary") };
    let mut tensors =
        entries.iter().map(|(k, v)| tensor(k, v, &storages)).collect::<anyhow::Result<Vec<_>>>()?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// The file is the same to the byte whenever the tensors are.
pub(super) fn write_safetensors(tensors: &[Tensor], out: &mut impl Write) -> anyhow::Result<()> {
    let mut header = BTreeMap::new();
    let mut offset = 0;
    for tensor in tensors {
        let end = offset + tensor.data.len();
        let description = Description { data_offsets: [offset, end], dtype: "F32", shape: &tensor.shape };
        header.insert(tensor.name.as_str(), description);
        offset = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    // The data begins at a multiple of eight, so that readers may map it.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for tensor in tensors {
        out.write_all(&tensor.data)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Description<'a> {
    data_offsets: [usize; 2],
    dtype: &'static str,
    shape: &'a [usize],
}

#[derive(Clone, Debug)]
enum Value {
    None,
    Integer(i64),
    Text(String),
    List(Vec<Self>),
    Dictionary(Vec<(Self, Self)>),
    /// A function or class by its name.
    Global(String),
    /// A storage: `("storage", type, key, device, elements, …)`.
    Persistent(Box<Self>),
    Call {
        function: String,
        arguments: Vec<Self>,
    },
    Mark,
}

impl Value {
    fn entry(&self, key: &str) -> Option<&Self> {
        let Self::Dictionary(entries) = self else { return None };
        entries
            .iter()
            .find(|(name, _)| matches!(name, Self::Text(text) if text == key))
            .map(|(_, value)| value)
    }

    fn text(&self) -> anyhow::Result<&str> {
        if let Self::Text(text) = self { Ok(text) } else { bail!("expected a text in the checkpoint") }
    }

    fn size(&self) -> anyhow::Result<usize> {
        if let Self::Integer(number) = self {
            Ok(usize::try_from(*number)?)
        } else {
            bail!("expected a number in the checkpoint")
        }
    }

    fn list(&self) -> anyhow::Result<&[Self]> {
        if let Self::List(values) = self { Ok(values) } else { bail!("expected a list in the checkpoint") }
    }
}

fn read_storages(input: &mut impl Read, keys: Value) -> anyhow::Result<HashMap<String, Vec<u8>>> {
    let mut storages = HashMap::new();
    for key in keys.list()? {
        let elements = usize::try_from(i64::from_le_bytes(read_array(input)?))?;
        let mut data = Vec::new();
        let bytes = elements as u64 * 4;
        ensure!(input.take(bytes).read_to_end(&mut data)? as u64 == bytes, "the checkpoint ends early");
        storages.insert(key.text()?.to_owned(), data);
    }
    Ok(storages)
}

/// A tensor is a call of `_rebuild_tensor_v2(storage, offset, shape, strides, …)`.
fn tensor(name: &Value, value: &Value, storages: &HashMap<String, Vec<u8>>) -> anyhow::Result<Tensor> {
    let name = name.text()?.to_owned();
    let (storage, offset, shape, strides) = match value {
        Value::Call { function, arguments } if function == "torch._utils _rebuild_tensor_v2" => {
            match arguments.as_slice() {
                [Value::Persistent(storage), offset, shape, strides, ..] => (storage, offset, shape, strides),
                _ => bail!("{name} has unknown arguments"),
            }
        }
        _ => bail!("{name} is not a tensor"),
    };
    let (kind, key) = match storage.list()? {
        [_, Value::Global(kind), Value::Text(key), ..] => (kind, key),
        _ => bail!("{name} has an unknown storage"),
    };
    ensure!(kind == "torch FloatStorage", "{name} is of {kind}, not 32-bit floats");
    let shape = shape.list()?.iter().map(Value::size).collect::<anyhow::Result<Vec<_>>>()?;
    let strides = strides.list()?.iter().map(Value::size).collect::<anyhow::Result<Vec<_>>>()?;
    let row_major: Vec<usize> = (1..=shape.len()).map(|axis| shape[axis..].iter().product()).collect();
    ensure!(strides == row_major, "{name} does not lie row by row");
    let start = offset.size()? * 4;
    let end = start + shape.iter().product::<usize>() * 4;
    let data = storages.get(key).and_then(|data| data.get(start..end));
    Ok(Tensor { data: data.with_context(|| format!("{name} has no data"))?.to_vec(), name, shape })
}

/// Reads one pickle of protocol 2.
fn unpickle(input: &mut impl BufRead) -> anyhow::Result<Value> {
    let mut machine = Machine { stack: Vec::new(), memo: HashMap::new() };
    loop {
        let [instruction] = read_array::<1>(input)?;
        match instruction {
            b'.' => return machine.pop(),
            0x80 => drop(read_array::<1>(input)?),
            b'(' => machine.stack.push(Value::Mark),
            b'N' => machine.stack.push(Value::None),
            0x88 => machine.stack.push(Value::Integer(1)),
            0x89 => machine.stack.push(Value::Integer(0)),
            b'K' => machine.integer(read_array::<1>(input)?[0].into()),
            b'M' => machine.integer(u16::from_le_bytes(read_array(input)?).into()),
            b'J' => machine.integer(i32::from_le_bytes(read_array(input)?).into()),
            0x8a => machine.stack.push(read_long(input)?),
            // Floats are settings of the training; no tensor needs their value.
            b'G' => machine.stack.push(read_array::<8>(input).map(|_| Value::None)?),
            b'X' => machine.stack.push(Value::Text(read_text(input)?)),
            b'c' => machine.stack.push(Value::Global(format!("{} {}", read_line(input)?, read_line(input)?))),
            b']' | b')' => machine.stack.push(Value::List(Vec::new())),
            b'}' => machine.stack.push(Value::Dictionary(Vec::new())),
            b't' => machine.collect()?,
            0x85 => machine.tuple(1)?,
            0x86 => machine.tuple(2)?,
            b'a' => machine.append()?,
            b'e' => machine.append_all()?,
            b's' => machine.set_item()?,
            b'u' => machine.set_items()?,
            b'R' => machine.call()?,
            // The state of an ordered dictionary is torch's metadata.
            b'b' => drop(machine.pop()?),
            b'Q' => machine.persistent()?,
            b'q' => machine.remember(read_array::<1>(input)?[0].into())?,
            b'r' => machine.remember(u32::from_le_bytes(read_array(input)?))?,
            b'h' => machine.recall(read_array::<1>(input)?[0].into())?,
            b'j' => machine.recall(u32::from_le_bytes(read_array(input)?))?,
            other => bail!("the checkpoint has an unknown pickle instruction {other:#04x}"),
        }
    }
}

struct Machine {
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
}

impl Machine {
    fn pop(&mut self) -> anyhow::Result<Value> {
        self.stack.pop().context("the checkpoint's pickle is malformed")
    }

    fn integer(&mut self, number: i64) {
        self.stack.push(Value::Integer(number));
    }

    /// Everything above the last mark.
    fn pop_to_mark(&mut self) -> anyhow::Result<Vec<Value>> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        let values = self.stack.split_off(mark.context("the checkpoint's pickle lacks a mark")? + 1);
        self.stack.pop();
        Ok(values)
    }

    fn collect(&mut self) -> anyhow::Result<()> {
        let values = self.pop_to_mark()?;
        self.stack.push(Value::List(values));
        Ok(())
    }

    fn tuple(&mut self, length: usize) -> anyhow::Result<()> {
        let start = self.stack.len().checked_sub(length).context("the checkpoint's pickle is malformed")?;
        let values = self.stack.split_off(start);
        self.stack.push(Value::List(values));
        Ok(())
    }

    fn append(&mut self) -> anyhow::Result<()> {
        let value = self.pop()?;
        self.extend_list(vec![value])
    }

    fn append_all(&mut self) -> anyhow::Result<()> {
        let values = self.pop_to_mark()?;
        self.extend_list(values)
    }

    fn extend_list(&mut self, values: Vec<Value>) -> anyhow::Result<()> {
        let Some(Value::List(list)) = self.stack.last_mut() else { bail!("an append to what is no list") };
        list.extend(values);
        Ok(())
    }

    fn set_item(&mut self) -> anyhow::Result<()> {
        let (value, key) = (self.pop()?, self.pop()?);
        self.extend_dictionary(vec![key, value])
    }

    fn set_items(&mut self) -> anyhow::Result<()> {
        let values = self.pop_to_mark()?;
        self.extend_dictionary(values)
    }

    fn extend_dictionary(&mut self, flat: Vec<Value>) -> anyhow::Result<()> {
        let Some(Value::Dictionary(entries)) = self.stack.last_mut() else {
            bail!("an entry for what is no dictionary")
        };
        let mut flat = flat.into_iter();
        while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
            entries.push((key, value));
        }
        Ok(())
    }

    fn call(&mut self) -> anyhow::Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(function) = function else { bail!("a call of what is no function") };
        let Value::List(arguments) = arguments else { bail!("a call without arguments") };
        self.stack.push(match function.as_str() {
            "collections OrderedDict" => Value::Dictionary(Vec::new()),
            _ => Value::Call { function, arguments },
        });
        Ok(())
    }

    fn persistent(&mut self) -> anyhow::Result<()> {
        let value = self.pop()?;
        self.stack.push(Value::Persistent(Box::new(value)));
        Ok(())
    }

    fn remember(&mut self, slot: u32) -> anyhow::Result<()> {
        let value = self.stack.last().context("the checkpoint's pickle is malformed")?.clone();
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> anyhow::Result<()> {
        let value = self.memo.get(&slot).context("the checkpoint recalls what it never stored")?.clone();
        self.stack.push(value);
        Ok(())
    }
}

fn read_text(input: &mut impl Read) -> anyhow::Result<String> {
    let length = u64::from(u32::from_le_bytes(read_array(input)?));
    let mut text = String::new();
    input.take(length).read_to_string(&mut text)?;
    Ok(text)
}

fn read_line(input: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// A long number of up to eight bytes keeps its value; the longer magic number is no tensor's.
fn read_long(input: &mut impl Read) -> anyhow::Result<Value> {
    let [length] = read_array::<1>(input)?;
    let mut bytes = Vec::new();
    input.take(length.into()).read_to_end(&mut bytes)?;
    if 8 < bytes.len() {
        return Ok(Value::None);
    }
    let negative = bytes.last().is_some_and(|byte| 127 < *byte);
    bytes.resize(8, if negative { 0xff } else { 0 });
    Ok(Value::Integer(i64::from_le_bytes(bytes.try_into().unwrap_or_default())))
}
