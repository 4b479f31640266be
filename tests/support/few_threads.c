/* A preload library that refuses all threads of a program but the first THREADS, as pids.max of a control group does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_int threads;

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*run)(void *), void *restrict argument) {
  static int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  if (!create) create = dlsym(RTLD_NEXT, "pthread_create");
  const char *limit = getenv("THREADS");
  if (limit && atomic_fetch_add(&threads, 1) >= atoi(limit)) return EAGAIN;
  return create(thread, attributes, run, argument);
}
