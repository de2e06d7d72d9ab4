//! forge TRIVIAL FOLDER: writes the hostile files that no compiler would, some of them on the base of the harmless component.
//!
//! What stands behind the end of a component has numbers of its own, so a part that is appended changes nothing before it: what
//! comes out still says that it is a validator, and only running or compiling it tells.

mod bomb;

use std::{env, error::Error, fs, path::Path};

use wasm_encoder::{
    Component, ComponentSection, InstanceSection, MemorySection, MemoryType, Module, ModuleArg, ModuleSection,
};
use wasmparser::{Parser, Payload};

/// Memories of the component with many: each is small, together they are 6.25 GiB.
const MEMORIES: u32 = 100;
const PAGES_EACH: u64 = 1000;
/// Of the code in the compile bomb.
const BOMB_BYTES: usize = 20 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(trivial), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: forge TRIVIAL FOLDER".into());
    };
    let trivial = fs::read(trivial)?;
    let folder = Path::new(&folder);
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name).with_extension("wasm"), bytes);

    write("many-memories", &many_memories(&trivial)?)?;
    write("compile-bomb", &with_module(&trivial, &bomb::module(BOMB_BYTES)))?;
    write("core-module", &Module::new().finish())?;
    write("no-hook", &Component::new().finish())?;
    write("cut-off", trivial.get(..trivial.len() / 2).unwrap_or_default())?;
    write("garbage", &garbage())?;
    write("empty", &[])?;
    Ok(())
}

/// A component that asks for all its memories as soon as it is instantiated.
fn many_memories(base: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: PAGES_EACH,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut module = Module::new();
    module.section(&memories);

    let ours = modules(base)?;
    let mut instances = InstanceSection::new();
    for _ in 0..MEMORIES {
        instances.instantiate(ours, std::iter::empty::<(&str, ModuleArg)>());
    }
    let mut component = with_module(base, &module);
    instances.append_to_component(&mut component);
    Ok(component)
}

fn with_module(base: &[u8], module: &Module) -> Vec<u8> {
    let mut component = base.to_vec();
    ModuleSection(module).append_to_component(&mut component);
    component
}

/// How many core modules a component has itself: the number of the next.
fn modules(component: &[u8]) -> Result<u32, Box<dyn Error>> {
    let (mut modules, mut depth) = (0, 0_u32);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } => {
                modules += u32::from(depth == 0);
                depth += 1;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(modules)
}

/// The same in every run.
fn garbage() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes = (0..64 * 1024).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    bytes.collect()
}
