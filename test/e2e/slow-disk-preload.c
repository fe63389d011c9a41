/*
 * Makes a disk slow or broken for one process: every fsync and fdatasync through the C library first
 * reads "<delay in ms> <errno>" from the file that SLOW_DISK_CONTROL names, waits so long, and fails with
 * errno unless that is 0. Without the file nothing changes. A third number there is the errno of writes to
 * files (not to sockets and pipes, nor to stdout and stderr).
 *
 *     cc -shared -fPIC -o slow-disk.so slow-disk-preload.c -ldl
 *     SLOW_DISK_CONTROL=control LD_PRELOAD=./slow-disk.so node ...
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct trouble {
  int delay_ms, sync_error, write_error;
};

static struct trouble trouble_now(void) {
  struct trouble now = {0, 0, 0};
  const char *path = getenv("SLOW_DISK_CONTROL");
  FILE *control = path == NULL ? NULL : fopen(path, "r");
  if (control == NULL) {
    return now;
  }
  if (fscanf(control, "%d %d %d", &now.delay_ms, &now.sync_error, &now.write_error) < 2) {
    now = (struct trouble){0, 0, 0};
  }
  fclose(control);
  return now;
}

static int sync_with_trouble(const char *name, int file) {
  struct trouble now = trouble_now();
  struct timespec left = {now.delay_ms / 1000, (now.delay_ms % 1000) * 1000000L};
  while (nanosleep(&left, &left) == -1 && errno == EINTR) {
  }
  if (now.sync_error != 0) {
    errno = now.sync_error;
    return -1;
  }
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  return real(file);
}

int fsync(int file) { return sync_with_trouble("fsync", file); }
int fdatasync(int file) { return sync_with_trouble("fdatasync", file); }

static int write_fails(int file) {
  struct stat about;
  if (file <= 2 || fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
    return 0;
  }
  int error = trouble_now().write_error;
  if (error != 0) {
    errno = error;
  }
  return error != 0;
}

ssize_t write(int file, const void *bytes, size_t count) {
  static ssize_t (*real)(int, const void *, size_t);
  if (real == NULL) {
    real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  }
  return write_fails(file) ? -1 : real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
  static ssize_t (*real)(int, const void *, size_t, off_t);
  if (real == NULL) {
    real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
  }
  return write_fails(file) ? -1 : real(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at) { return pwrite(file, bytes, count, at); }
