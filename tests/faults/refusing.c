/*
 * A disk that refuses to be written: while the file REFUSING exists, whatever would change something below the
 * folder REFUSING_BELOW fails with the error number that is written there. For LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuses(const char *path)
{
    const char *below = getenv("REFUSING_BELOW"), *said = getenv("REFUSING");
    int number = 0;
    FILE *file;

    if (below == NULL || said == NULL || strncmp(path, below, strlen(below)) != 0)
        return 0;
    file = fopen(said, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%d", &number) != 1)
        number = 0;
    fclose(file);
    errno = number;
    return number != 0;
}

static int refuses_open(int descriptor)
{
    char link[64], path[PATH_MAX + 1];
    ssize_t size;

    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    size = readlink(link, path, PATH_MAX);
    if (size < 0)
        return 0;
    path[size] = 0;
    return refuses(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                                               \
    int name(const char *path, int flags, ...)                                                                   \
    {                                                                                                            \
        va_list more;                                                                                            \
        mode_t mode;                                                                                             \
                                                                                                                 \
        va_start(more, flags);                                                                                   \
        mode = va_arg(more, mode_t);                                                                             \
        va_end(more);                                                                                            \
        if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && refuses(path))                                            \
            return -1;                                                                                           \
        return REAL(name)(path, flags, mode);                                                                    \
    }

OPEN(open)
OPEN(open64)

ssize_t write(int descriptor, const void *bytes, size_t size)
{
    return refuses_open(descriptor) ? -1 : REAL(write)(descriptor, bytes, size);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset)
{
    return refuses_open(descriptor) ? -1 : REAL(pwrite64)(descriptor, bytes, size, offset);
}

int ftruncate64(int descriptor, off64_t size)
{
    return refuses_open(descriptor) ? -1 : REAL(ftruncate64)(descriptor, size);
}

int fsync(int descriptor)
{
    return refuses_open(descriptor) ? -1 : REAL(fsync)(descriptor);
}

int fdatasync(int descriptor)
{
    return refuses_open(descriptor) ? -1 : REAL(fdatasync)(descriptor);
}

int rename(const char *from, const char *to)
{
    return refuses(to) ? -1 : REAL(rename)(from, to);
}

int unlink(const char *path)
{
    return refuses(path) ? -1 : REAL(unlink)(path);
}
