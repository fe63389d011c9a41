/*
 * Has one process dial from an address of its own: every connect() to the loopback network is first bound to the one that
 * DIAL_FROM names, so that whoever accepts sees by it who dials.
 *
 *     cc -shared -fPIC -o dial-from.so dial-from.c -ldl
 *     DIAL_FROM=127.0.0.12 LD_PRELOAD=./dial-from.so node ...
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

int connect(int file, const struct sockaddr *address, socklen_t length) {
  static int (*real)(int, const struct sockaddr *, socklen_t);
  if (real == NULL) {
    real = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
  }
  const char *from = getenv("DIAL_FROM");
  struct sockaddr_in own = {.sin_family = AF_INET};
  if (from != NULL && address->sa_family == AF_INET && inet_pton(AF_INET, from, &own.sin_addr) == 1) {
    const struct sockaddr_in *to = (const struct sockaddr_in *)address;
    if (ntohl(to->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET) {
      int one = 1;
      /* The port is chosen by connect(), which knows the other end: else each address has no more than 28,000. */
      setsockopt(file, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
      bind(file, (const struct sockaddr *)&own, sizeof own);
    }
  }
  return real(file, address, length);
}
