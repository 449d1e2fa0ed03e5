"""Teaching the weights that a space's candidates share, and keeping them.

begin(supernet, ...)               what they begin as         nas.training.sharing.begin
SharedTraining, teach              steps over candidates      nas.training.sharing.teaching
write_shared, read_shared          a file, loaded as data     nas.training.sharing.kept
"""
