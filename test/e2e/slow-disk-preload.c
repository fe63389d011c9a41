/*
 * Makes a disk slow or broken for one process: every fsync and fdatasync through the C library first
 * reads "<delay in ms> <errno>" from the file that SLOW_DISK_CONTROL names, waits so long, and fails with
 * errno unless that is 0. Without the file nothing changes.
 *
 *     cc -shared -fPIC -o slow-disk.so slow-disk-preload.c -ldl
 *     SLOW_DISK_CONTROL=control LD_PRELOAD=./slow-disk.so node ...
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int trouble(void) {
  const char *path = getenv("SLOW_DISK_CONTROL");
  FILE *control = path == NULL ? NULL : fopen(path, "r");
  if (control == NULL) {
    return 0;
  }
  int delay_ms = 0, error = 0;
  if (fscanf(control, "%d %d", &delay_ms, &error) != 2) {
    delay_ms = error = 0;
  }
  fclose(control);
  struct timespec left = {delay_ms / 1000, (delay_ms % 1000) * 1000000L};
  while (nanosleep(&left, &left) == -1 && errno == EINTR) {
  }
  return error;
}

static int sync_with_trouble(const char *name, int file) {
  int error = trouble();
  if (error != 0) {
    errno = error;
    return -1;
  }
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  return real(file);
}

int fsync(int file) { return sync_with_trouble("fsync", file); }
int fdatasync(int file) { return sync_with_trouble("fdatasync", file); }
