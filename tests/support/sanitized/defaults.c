/* What the sanitizers do when they find something, for the interpreter and the native programs of a sanitizer build:
 * compiled in, so that the environment of servers and jobs is the one that a test gave them. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
void __sanitizer_set_report_path(const char *path);

/* The tests preload libraries of their own. Nobody frees everything at the end of a process that ends with _exit. */
const char *__asan_default_options(void) { return "exitcode=99:detect_leaks=0:verify_asan_link_order=0"; }

const char *__ubsan_default_options(void) { return "exitcode=99:print_stacktrace=1"; }

/* Not the option log_path: it is put into effect so early that a preloaded mkdir cannot work yet, and as both libraries
 * have a function of this name, UBSan would set the path of ASan's reports. */
__attribute__((constructor)) static void set_paths(void)
{
    void *library = dlopen("libubsan.so.1", RTLD_LAZY | RTLD_NOLOAD);
    void (*set_path)(const char *) = NULL;

    if (library)
        *(void **)&set_path = dlsym(library, "__sanitizer_set_report_path");
    if (!set_path)
        abort();
    set_path(REPORTS "/ubsan");
    __sanitizer_set_report_path(REPORTS "/asan");
}

#ifdef OWN_STACKS
/* The runner's children share its memory and have stacks that ASan does not know. They leave by execve or _exit and so
 * the marks of their frames behind, on which the frames of the next one would stumble. */
void __asan_unpoison_memory_region(const volatile void *memory, size_t size);
void __asan_handle_no_return(void);
int __real_clone(int (*child)(void *), void *stack, int flags, void *argument);
int __wrap_clone(int (*child)(void *), void *stack, int flags, void *argument);

int __wrap_clone(int (*child)(void *), void *stack, int flags, void *argument)
{
    __asan_unpoison_memory_region((char *)stack - OWN_STACKS, OWN_STACKS);
    return __real_clone(child, stack, flags, argument);
}

/* Called before functions that do not return, to clean the stack of the thread: on those it would give up, and say
 * so. */
void __asan_handle_no_return(void) {}
#endif
