/*
 * Writes down what a process does to the files below one folder, in its order, so that the folder can be
 * rebuilt as a disk may hold it after a power cut. For LD_PRELOAD; powerloss.py builds it and reads the log.
 *
 * POWERLOSS_FOLDER names the folder, POWERLOSS_LOG the file to append to. An operation and its line in the log
 * are one under the lock, so that the log's order is the true one. A record is the head below, then `path`,
 * then `data`: what was written, or the new path of a rename.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 'c', FOLDER = 'd', WRITE = 'w', TRUNCATE = 't', SYNC = 's', RENAME = 'r', UNLINK = 'u' };

struct head {
    uint64_t what, inode, offset, path_size, data_size;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_size;
static int logged_to = -1;

static int (*real_open)(const char *, int, ...);
static int (*real_mkdir)(const char *, mode_t);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_rmdir)(const char *);

__attribute__((constructor)) static void begin(void)
{
    real_open = dlsym(RTLD_NEXT, "open64");
    real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rmdir = dlsym(RTLD_NEXT, "rmdir");
    folder = getenv("POWERLOSS_FOLDER");
    if (folder == NULL || getenv("POWERLOSS_LOG") == NULL)
        return;
    folder_size = strlen(folder);
    logged_to = real_open(getenv("POWERLOSS_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int inside(const char *path)
{
    return logged_to >= 0 && strncmp(path, folder, folder_size) == 0
        && (path[folder_size] == '/' || path[folder_size] == '\0');
}

/* The path behind a descriptor, if it is one to write down. A folder above may hold our folder's own name. */
static int known(int descriptor, char *path, struct stat *status)
{
    char link[64];
    if (logged_to < 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0)
        return 0;
    path[size] = '\0';
    return fstat(descriptor, status) == 0
        && (S_ISDIR(status->st_mode) || (S_ISREG(status->st_mode) && inside(path)));
}

static void note(int what, ino_t inode, off_t offset, const char *path, const void *data, size_t data_size)
{
    struct head head = {what, inode, offset, strlen(path), data_size};
    struct iovec parts[] = {
        {&head, sizeof head}, {(void *)path, head.path_size}, {(void *)data, data_size}};
    if (writev(logged_to, parts, 3) != (ssize_t)(sizeof head + head.path_size + data_size))
        abort();
}

int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    if (!inside(path) || !(flags & (O_CREAT | O_TRUNC)))
        return real_open(path, flags, mode);
    struct stat status;
    pthread_mutex_lock(&turn);
    int existed = lstat(path, &status) == 0;
    int descriptor = real_open(path, flags, mode);
    int error = errno;
    if (descriptor >= 0 && fstat(descriptor, &status) == 0) {
        if (!existed)
            note(CREATE, status.st_ino, 0, path, NULL, 0);
        else if (flags & O_TRUNC)
            note(TRUNCATE, status.st_ino, 0, path, NULL, 0);
    }
    pthread_mutex_unlock(&turn);
    errno = error;
    return descriptor;
}

int open(const char *, int, ...) __attribute__((alias("open64")));

int mkdir(const char *path, mode_t mode)
{
    struct stat status;
    if (!inside(path))
        return real_mkdir(path, mode);
    pthread_mutex_lock(&turn);
    int result = real_mkdir(path, mode);
    int error = errno;
    if (result == 0 && stat(path, &status) == 0)
        note(FOLDER, status.st_ino, 0, path, NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}

ssize_t write(int descriptor, const void *data, size_t size)
{
    char path[PATH_MAX];
    struct stat status;
    if (!known(descriptor, path, &status))
        return real_write(descriptor, data, size);
    pthread_mutex_lock(&turn);
    ssize_t written = real_write(descriptor, data, size);
    int error = errno;
    if (written > 0)
        note(WRITE, status.st_ino, lseek(descriptor, 0, SEEK_CUR) - written, path, data, written);
    pthread_mutex_unlock(&turn);
    errno = error;
    return written;
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off_t offset)
{
    char path[PATH_MAX];
    struct stat status;
    if (!known(descriptor, path, &status))
        return real_pwrite(descriptor, data, size, offset);
    pthread_mutex_lock(&turn);
    ssize_t written = real_pwrite(descriptor, data, size, offset);
    int error = errno;
    if (written > 0)
        note(WRITE, status.st_ino, offset, path, data, written);
    pthread_mutex_unlock(&turn);
    errno = error;
    return written;
}

ssize_t pwrite(int, const void *, size_t, off_t) __attribute__((alias("pwrite64")));

/* What takes a descriptor and a number and needs no more than to be noted. */
static int noted(int what, int result, int descriptor, off_t number)
{
    char path[PATH_MAX];
    struct stat status;
    int error = errno;
    if (result == 0 && known(descriptor, path, &status))
        note(what, status.st_ino, number, path, NULL, 0);
    errno = error;
    return result;
}

int ftruncate64(int descriptor, off_t size)
{
    pthread_mutex_lock(&turn);
    int result = noted(TRUNCATE, real_ftruncate(descriptor, size), descriptor, size);
    pthread_mutex_unlock(&turn);
    return result;
}

int ftruncate(int, off_t) __attribute__((alias("ftruncate64")));

int fsync(int descriptor)
{
    pthread_mutex_lock(&turn);
    int result = noted(SYNC, real_fsync(descriptor), descriptor, 0);
    pthread_mutex_unlock(&turn);
    return result;
}

int fdatasync(int descriptor)
{
    pthread_mutex_lock(&turn);
    int result = noted(SYNC, real_fdatasync(descriptor), descriptor, 0);
    pthread_mutex_unlock(&turn);
    return result;
}

int rename(const char *from, const char *to)
{
    if (!inside(from) && !inside(to))
        return real_rename(from, to);
    pthread_mutex_lock(&turn);
    int result = real_rename(from, to);
    int error = errno;
    if (result == 0)
        note(RENAME, 0, 0, from, to, strlen(to));
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}

static int removed(int (*remove)(const char *), const char *path)
{
    if (!inside(path))
        return remove(path);
    pthread_mutex_lock(&turn);
    int result = remove(path);
    int error = errno;
    if (result == 0)
        note(UNLINK, 0, 0, path, NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = error;
    return result;
}

int unlink(const char *path)
{
    return removed(real_unlink, path);
}

int rmdir(const char *path)
{
    return removed(real_rmdir, path);
}
