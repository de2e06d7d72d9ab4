//! Code that takes a compiler long: few functions, each as big as may be, nested deeply, with many values alive all the way.

use wasm_encoder::{BlockType, CodeSection, Function, FunctionSection, Module, TypeSection, ValType};

/// Of one function; a validator takes at most 7,654,321.
const FUNCTION_BYTES: usize = 4 << 20;
const LOCALS: u32 = 1000;
/// Of blocks in each other.
const DEPTH: u32 = 500;

pub(crate) fn module(bytes: usize) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64], [ValType::I64]);
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    for n in 0..bytes.div_ceil(FUNCTION_BYTES) {
        functions.function(0);
        code.function(&function(n));
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module
}

fn function(seed: usize) -> Function {
    let mut function = Function::new([(LOCALS, ValType::I64)]);
    let mut local = u32::try_from(seed % 1000).unwrap_or(0);
    while function.byte_len() < FUNCTION_BYTES {
        let mut code = function.instructions();
        for _ in 0..DEPTH {
            code.block(BlockType::Empty);
        }
        for depth in 0..DEPTH {
            // Any three locals, so that none is ever free.
            local = (local * 733 + 271) % LOCALS;
            let (other, third) = ((local * 7 + 1) % LOCALS, (local * 13 + 5) % LOCALS);
            code.local_get(local)
                .local_get(other)
                .i64_mul()
                .local_get(third)
                .i64_add()
                .local_tee(local);
            // Out of all the blocks that are open, of any of them.
            code.i64_eqz().br_if(depth % (DEPTH - depth)).end();
        }
    }
    function.instructions().local_get(0).end();
    function
}
