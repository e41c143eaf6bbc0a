import socket

try:
    socket.create_connection(("127.0.0.1", 22), 1)
    print("connected")
except OSError as error:
    print(error.strerror)
try:
    socket.create_connection(("192.0.2.1", 80), 1)
    print("connected")
except OSError as error:
    print(error.strerror)
