/* The interpreter of a sanitizer build: linked with the sanitizers, so that nothing need be preloaded, and with every
 * object an allocation of its own. */
#include <Python.h>

int main(int argc, char **argv)
{
    PyPreConfig settings;
    PyStatus status;

    PyPreConfig_InitPythonConfig(&settings);
    settings.allocator = PYMEM_ALLOCATOR_MALLOC;
    status = Py_PreInitializeFromBytesArgs(&settings, argc, argv);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    return Py_BytesMain(argc, argv);
}
