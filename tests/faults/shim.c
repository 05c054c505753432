/* Counts the operations that change files under one folder, and fails or kills at the k-th.
 *
 * Preloaded into a process. Nothing happens until that process calls faults_arm; the processes it
 * starts are left alone. Without a fault each operation is only counted, and written to a log.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* The same numbers are in shim.py. */
enum operation { CREATE, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, MODE, SYMLINK };
enum fault { NONE, KILL, TORN, FAIL_ONCE, FAIL_ON, SHORT };
enum answer { GO_ON = 0, HALF = 1, FAILED = -1 };

static long *met; /* shared with the parent, who reads it when this process is gone */
static pid_t armed;
static char prefix[4096];
static size_t prefix_length;
static long at;
static int fault, error_number;
static int log_file = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    met = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Says how many operations the last armed process met. */
long faults_met(void) { return *met; }

/* Called in the process that is to meet the fault, before its k-th operation under `under`. */
void faults_arm(const char *under, int kind, long k, int number, const char *log) {
    snprintf(prefix, sizeof prefix, "%s", under);
    prefix_length = strlen(prefix);
    fault = kind;
    at = k;
    error_number = number;
    *met = 0;
    if (log != NULL)
        log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    armed = getpid();
}

static int under_prefix(const char *path) {
    return strncmp(path, prefix, prefix_length) == 0 &&
           (path[prefix_length] == '/' || path[prefix_length] == 0);
}

static int path_of(int handle, char *path) {
    char name[64];
    if (handle == AT_FDCWD)
        return getcwd(path, 4096) != NULL;
    snprintf(name, sizeof name, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(name, path, 4095);
    if (length < 0)
        return 0;
    path[length] = 0;
    return 1;
}

static int absolute(int folder, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, 4096, "%s", name);
        return 1;
    }
    if (!path_of(folder, path))
        return 0;
    size_t length = strlen(path);
    snprintf(path + length, 4096 - length, "/%s", name);
    return 1;
}

/* A disk that is full still removes; one that is read-only does nothing of these. */
static int can_fail(enum operation what) {
    if (error_number == ENOSPC || error_number == EDQUOT)
        return what != UNLINK && what != RMDIR && what != MODE && what != TRUNCATE;
    if (error_number == EROFS)
        return what != WRITE && what != SYNC;
    return 1;
}

static void note(enum operation what, const char *path, const char *second, int64_t offset,
                 const void *data, int64_t size, int handle) {
    struct stat of;
    int32_t head[4] = {what, strlen(path), strlen(second), data != NULL};
    int64_t numbers[3] = {offset, size, handle >= 0 && fstat(handle, &of) == 0 ? (long)of.st_ino : 0};
    struct iovec parts[5] = {
        {head, sizeof head},
        {numbers, sizeof numbers},
        {(void *)path, head[1]},
        {(void *)second, head[2]},
        {(void *)data, data == NULL ? 0 : size},
    };
    syscall(SYS_writev, log_file, parts, 5);
}

/* Called before each operation, with the lock held until `done`. */
static enum answer meet(enum operation what, const char *path, const char *second) {
    if (armed == 0 || getpid() != armed || !(under_prefix(path) || under_prefix(second)))
        return GO_ON;
    long number = __atomic_add_fetch(met, 1, __ATOMIC_SEQ_CST);
    if (fault == NONE || number < at)
        return GO_ON;
    if (fault == KILL || (fault == TORN && what != WRITE))
        kill(armed, SIGKILL);
    if (fault == TORN)
        return HALF;
    if (fault == SHORT && what == WRITE) {
        fault = NONE;
        return HALF;
    }
    if ((fault == FAIL_ONCE || fault == FAIL_ON) && can_fail(what)) {
        if (fault == FAIL_ONCE)
            fault = NONE;
        errno = error_number;
        return FAILED;
    }
    return GO_ON;
}

static int is_logged(const char *path, const char *second) {
    return armed != 0 && log_file >= 0 && getpid() == armed &&
           (under_prefix(path) || under_prefix(second));
}

static long act(const long *a) { return syscall(a[0], a[1], a[2], a[3], a[4], a[5]); }

/* One operation on names: met, done by the system, and noted if it succeeded. */
static long on_names(enum operation what, const char *path, const char *second, int64_t number,
                     int handle, const long *arguments) {
    pthread_mutex_lock(&lock);
    long result = meet(what, path, second) == FAILED ? -1 : act(arguments);
    if (result >= 0 && is_logged(path, second))
        note(what, path, second, number, NULL, 0, what == CREATE ? (int)result : handle);
    pthread_mutex_unlock(&lock);
    return result;
}

#define NAMED(what, folder, name, number, ...)                                                     \
    do {                                                                                           \
        char path[4096];                                                                           \
        const long arguments[6] = {__VA_ARGS__};                                                   \
        if (armed == 0 || !absolute(folder, name, path))                                           \
            return act(arguments);                                                                 \
        return on_names(what, path, "", number, -1, arguments);                                    \
    } while (0)

#define TWO_NAMED(what, from_folder, from, to_folder, to, ...)                                     \
    do {                                                                                           \
        char path[4096], second[4096];                                                             \
        const long arguments[6] = {__VA_ARGS__};                                                   \
        if (armed == 0 || !absolute(from_folder, from, path) || !absolute(to_folder, to, second))  \
            return act(arguments);                                                                 \
        return on_names(what, path, second, 0, -1, arguments);                                     \
    } while (0)

#define HANDLED(what, handle, number, ...)                                                         \
    do {                                                                                           \
        char path[4096];                                                                           \
        const long arguments[6] = {__VA_ARGS__};                                                   \
        if (armed == 0 || !path_of(handle, path))                                                  \
            return act(arguments);                                                                 \
        return on_names(what, path, "", number, handle, arguments);                                \
    } while (0)

static int open_at(int folder, const char *name, int flags, mode_t mode) {
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT))
        return syscall(SYS_openat, folder, name, flags, mode);
    NAMED(CREATE, folder, name, flags, SYS_openat, folder, (long)name, flags, mode);
}

#define MODE_ARGUMENT(mode)                                                                        \
    mode_t mode = 0;                                                                               \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                           \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *name, int flags, ...) {
    MODE_ARGUMENT(mode)
    return open_at(AT_FDCWD, name, flags, mode);
}
int open64(const char *name, int flags, ...) {
    MODE_ARGUMENT(mode)
    return open_at(AT_FDCWD, name, flags, mode);
}
int openat(int folder, const char *name, int flags, ...) {
    MODE_ARGUMENT(mode)
    return open_at(folder, name, flags, mode);
}
int openat64(int folder, const char *name, int flags, ...) {
    MODE_ARGUMENT(mode)
    return open_at(folder, name, flags, mode);
}
int creat(const char *name, mode_t mode) {
    return open_at(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

/* Writes at `offset`, or where the file stands when it is -1. */
static ssize_t put(int handle, const void *data, size_t size, off_t offset) {
    char path[4096];
    if (armed == 0 || !path_of(handle, path) || !under_prefix(path))
        return offset < 0 ? syscall(SYS_write, handle, data, size)
                          : syscall(SYS_pwrite64, handle, data, size, offset);
    pthread_mutex_lock(&lock);
    ssize_t result = -1;
    enum answer answer = meet(WRITE, path, "");
    if (answer != FAILED) {
        size_t part = answer == HALF ? (size + 1) / 2 : size;
        off_t start = offset < 0 ? lseek(handle, 0, SEEK_CUR) : offset;
        result = offset < 0 ? syscall(SYS_write, handle, data, part)
                            : syscall(SYS_pwrite64, handle, data, part, offset);
        if (fault == TORN && answer == HALF)
            kill(armed, SIGKILL);
        if (result > 0 && is_logged(path, ""))
            note(WRITE, path, "", start, data, result, handle);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
ssize_t write(int handle, const void *data, size_t size) { return put(handle, data, size, -1); }
ssize_t pwrite(int handle, const void *data, size_t size, off_t offset) {
    return put(handle, data, size, offset);
}
ssize_t pwrite64(int handle, const void *data, size_t size, off64_t offset) {
    return put(handle, data, size, offset);
}
/* The first part alone is written: callers go on with what is left. */
ssize_t writev(int handle, const struct iovec *parts, int count) {
    if (armed == 0)
        return syscall(SYS_writev, handle, parts, count);
    for (int i = 0; i < count; i++)
        if (parts[i].iov_len > 0)
            return put(handle, parts[i].iov_base, parts[i].iov_len, -1);
    return 0;
}
/* Callers that copy inside the kernel fall back to reading and writing. */
ssize_t copy_file_range(int from, off64_t *at_from, int to, off64_t *at_to, size_t size,
                        unsigned flags) {
    if (armed != 0) {
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_copy_file_range, from, at_from, to, at_to, size, flags);
}
ssize_t sendfile(int to, int from, off_t *offset, size_t size) {
    if (armed != 0) {
        errno = ENOTSOCK;
        return -1;
    }
    return syscall(SYS_sendfile, to, from, offset, size);
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size) {
    return sendfile(to, from, offset, size);
}

int ftruncate(int handle, off_t size) { HANDLED(TRUNCATE, handle, size, SYS_ftruncate, handle, size); }
int ftruncate64(int handle, off64_t size) { return ftruncate(handle, size); }
int fsync(int handle) { HANDLED(SYNC, handle, 0, SYS_fsync, handle); }
int fdatasync(int handle) { HANDLED(SYNC, handle, 0, SYS_fdatasync, handle); }
int fchmod(int handle, mode_t mode) { HANDLED(MODE, handle, mode, SYS_fchmod, handle, mode); }
int chmod(const char *name, mode_t mode) {
    NAMED(MODE, AT_FDCWD, name, mode, SYS_fchmodat, AT_FDCWD, (long)name, mode);
}
int mkdirat(int folder, const char *name, mode_t mode) {
    NAMED(MKDIR, folder, name, mode, SYS_mkdirat, folder, (long)name, mode);
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
int unlinkat(int folder, const char *name, int flags) {
    NAMED(flags & AT_REMOVEDIR ? RMDIR : UNLINK, folder, name, 0, SYS_unlinkat, folder, (long)name,
          flags);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) {
    int result = unlink(name);
    return result < 0 && errno == EISDIR ? rmdir(name) : result;
}
int symlinkat(const char *target, int folder, const char *name) {
    NAMED(SYMLINK, folder, name, 0, SYS_symlinkat, (long)target, folder, (long)name);
}
int symlink(const char *target, const char *name) { return symlinkat(target, AT_FDCWD, name); }
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    TWO_NAMED(RENAME, from_folder, from, to_folder, to, SYS_renameat2, from_folder, (long)from,
              to_folder, (long)to, flags);
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return renameat2(from_folder, from, to_folder, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    TWO_NAMED(LINK, from_folder, from, to_folder, to, SYS_linkat, from_folder, (long)from, to_folder,
              (long)to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
