

def main():
    import os, sys

    # What lies in the folder that this was started in comes into the way only when the kernel puts it there.
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    sys.argv[0] = launcher()
    start(sys.argv[1:])


main()
