"""What compiles a kernel: Numba's dispatcher, which here makes no machine code of functions that only kernels call.

Numba links a function into each function that calls it, and compiles the whole again. What is called by kernels alone
never runs by itself, so its machine code, and the code through which Python would call it, are left out.
"""

from typing import Any

from llvmlite.binding import parse_bitcode
from numba.core import compiler, event, types, typing
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler
from numba.core.registry import CPUDispatcher
from numba.core.sigutils import normalize_signature


class HelperLibrary(JITCodeLibrary):
    """Optimised code that waits to be linked into what calls it."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def serialize_using_object_code(self) -> tuple[str, str, bytes]:
        """Return what the cache keeps; there is no object code."""
        self._ensure_finalized()
        return self.name, "bitcode", self._get_module_for_linking().as_bitcode()


class _HelperPipeline(compiler.Compiler):
    """Numba's compiler, filling a library of the kind above."""

    def compile_extra(self, func: Any) -> Any:
        self.state.library = HelperLibrary(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


class _HelperCompiler(_FunctionCompiler):
    """Compiles a function without the ways into it from Python and C."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        return flags

    def _compile_core(self, args: Any, return_type: Any) -> Any:
        return super()._compile_core(args, return_type)._replace(entry_point=object())


class _KernelCompiler(_FunctionCompiler):
    """Compiles a function that Python calls, and hands its helpers their environments."""

    def _compile_core(self, args: Any, return_type: Any) -> Any:
        result = super()._compile_core(args, return_type)
        environments = result._find_referenced_environments()
        for environment in environments:
            result.codegen.set_env(environment.env_name, environment)
        return result._replace(referenced_envs=tuple(environments))


class KernelDispatcher(CPUDispatcher):
    """A function with its compiled overloads: those that Python calls, and those that other kernels call."""

    def __init__(self, py_func: Any, locals: Any = None, targetoptions: Any = None) -> None:
        super().__init__(py_func, locals, targetoptions)
        given = py_func, self.targetdescr, self.targetoptions, self.locals
        self._compiler = _KernelCompiler(*given, compiler.Compiler)
        self._helper_compiler = _HelperCompiler(*given, _HelperPipeline)
        self.helpers: dict[tuple[types.Type, ...], compiler.CompileResult] = {}

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Return what types a call by another kernel; compile it if these types are new."""
        pysig, args = self._compiler.fold_argument_types(args, kws)
        signature = self.helper(tuple(args)).signature
        template = typing.make_concrete_template(f"Call({self.__name__})", key=self.__name__, signatures=[signature])
        return template, pysig, args, {}

    def get_overload(self, sig: Any) -> Any:
        """Return what the target context knows an overload as."""
        return self.helper(tuple(normalize_signature(sig)[0])).entry_point

    def helper(self, args: tuple[types.Type, ...]) -> compiler.CompileResult:
        """Return the overload to be linked into another kernel; compile it if these types are new."""
        with global_compiler_lock:
            found = self.overloads.get(args) or self.helpers.get(args)
            if found is None:
                with self._compiling_counter:
                    found = self._cache.load_helper(args, self.targetctx) or self._compile_helper(args)
                self.targetctx.insert_user_function(found.entry_point, found.fndesc, [found.library])
                self.helpers[args] = found
            return found

    def _compile_helper(self, args: tuple[types.Type, ...]) -> compiler.CompileResult:
        with event.trigger_event("numba:compile", data={"dispatcher": self, "args": args, "return_type": None}):
            result = self._helper_compiler.compile(args, None)
        self._cache.save_helper(args, result)
        return result


def loaded_helper(target_context: Any, libdata: Any, fndesc: Any, environment: Any, *rest: Any) -> Any:
    """Return the overload that `CompileResult._reduce` took apart, given its parts."""
    signature, objectmode, lifted, annotation, reload_init, environments = rest
    for initialise in reload_init:
        initialise()
    name, _, bitcode = libdata
    library = HelperLibrary(target_context.codegen(), name)
    library._final_module = parse_bitcode(bitcode)
    library._finalize_final_module()
    return compiler.compile_result(
        target_context=target_context,
        typing_context=target_context.typing_context,
        library=library,
        environment=environment,
        entry_point=object(),
        fndesc=fndesc,
        type_annotation=annotation,
        signature=signature,
        objectmode=objectmode,
        lifted=lifted,
        reload_init=reload_init,
        referenced_envs=environments,
    )
